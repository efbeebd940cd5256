"""From faces to people: shots, tracks, people of a clip, people of all clips."""
