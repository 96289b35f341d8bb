"""Tell what a bundle costs on a board: ROM, RAM, and whether it fits the budget."""
