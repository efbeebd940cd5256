"""Runs work over many clips: one after the other or several at once, in a process apart, as a share of a cluster's; and how long it took."""
