"""What plugins and the host agree on. Imports nothing else of tlbench, and no torch."""
