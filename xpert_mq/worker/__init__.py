"""What a worker node does besides running jobs."""
