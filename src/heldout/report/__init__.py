"""The page that a run is read on."""
