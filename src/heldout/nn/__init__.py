"""The layer, its reference recurrence, penalties, and the networks built from it."""
