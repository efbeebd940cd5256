"""Runtimes that execute a network: one protocol, one module per runtime."""
