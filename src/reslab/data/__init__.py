"""Bytes and indices in, uint8 batches out."""
