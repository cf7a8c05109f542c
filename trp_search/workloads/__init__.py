"""Workloads: a name -> a network; a name -> train, validation and test images."""
