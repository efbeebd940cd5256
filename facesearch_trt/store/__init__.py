"""What is written for a clip: file names, tables, embeddings, the run record."""
