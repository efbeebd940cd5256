"""Who is who over all clips of a directory: the files that say so, what people decided by hand, who is known by name, and how sure it is."""
