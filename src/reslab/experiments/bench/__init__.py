"""Speed measured here: training, reading photographs and inference, each against rivals in the same run."""
