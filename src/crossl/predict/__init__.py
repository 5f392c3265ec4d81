"""Prediction: recordings in, a timeline for each out.

`inputs` finds what is to be read, `sight` sees it with the eyes of a run, `timeline` says what
follows, `tables` and `edf_annotations` write it down, `kept` knows what is done.
`crossl.commands.predict` is the whole job; `crossl.report.timelines` draws.
"""
