"""What people look at: the board in a terminal, its figures, and the views of compare, curves and changes."""
