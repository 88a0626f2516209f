"""The commands. One module each: parse, call one flow, print, exit. No logic."""
