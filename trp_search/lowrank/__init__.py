"""Pure low-rank linear algebra on kernels, and networks cut by it."""
