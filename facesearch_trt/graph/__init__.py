"""Where frames come from: clips on disk, decoded by GStreamer or read as images."""
