"""Coding of integers: tables of counts, an entropy coder, and the files around its bytes.

Arrays in, bytes out: what runs a network around it is in ``ae_sweep.inspection``.
"""
