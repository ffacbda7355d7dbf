"""One module for each thing that the inventory knows."""
