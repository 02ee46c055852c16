"""What the programs `lab` and `smoke` are made of. Python 3, standard library only."""
