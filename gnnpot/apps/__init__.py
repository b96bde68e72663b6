"""What is done with a trained potential: MD, relaxation, checks, predictions."""
