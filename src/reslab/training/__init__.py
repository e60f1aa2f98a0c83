"""Schedules, optimizer, loop, checkpoints, precision: takes a module and an iterable of batches."""
