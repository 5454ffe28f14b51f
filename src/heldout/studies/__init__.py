"""Many fits: plans, the engine that runs them, the ledger that remembers, the statistics that compare."""
