"""Where a quote stands in a text, although it was not copied exactly: pure functions on text.

`search` finds a quote, first as it is and then without regard to form (`normalize`); `approximate`
finds one with a slip or an ellipsis. Whether what differs may differ is decided in `wording` and
`elision`; `vocabulary` tells a slip from another word.
"""
