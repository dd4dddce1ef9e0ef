"""Children that read for us: started, given budgets, replaced when they die, and kept from writing."""
