"""The verbs that ship: export, bench, predict, doctor."""
