"""Checks for leaks and faults: one small pure function each, a `Finding` out."""
