"""What runs a sweep: its request, set-up, engine, time estimate, tracking and execution.

Modules are imported one by one where they are used: the defaults in ``settings`` are read for
``--help``, which must not import torch.
"""
