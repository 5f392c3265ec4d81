"""What a researcher writes in Python: load or build a run, pretrain, probe, predict, evaluate.

`crossl` exports what is public of it; see docs/python.md.
"""
