"""Testing: exact counts, stored scores."""
