"""What goes on inside networks."""
