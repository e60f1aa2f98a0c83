"""What every other room stands on: errors, units, intervals, specs, run directories, the paper's numbers."""
