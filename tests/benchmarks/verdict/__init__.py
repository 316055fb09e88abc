"""What the findings say of runs that are really sick, held against what was seeded."""
