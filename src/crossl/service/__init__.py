"""Service: a run behind HTTP and WebSockets, and the page that shows what it says, live.

`guard` decides who may ask and how much, `bodies`, `arrow` and `uploads` make recordings of what is
sent, `engine` classifies off the event loop, `answers` writes what is said, `streams` and `watch`
follow sensors as they record, `app` puts it together and `server` runs it. Needs the extra `app`.
"""
