"""Networks: torch only; they know shapes, nothing else."""
