"""Turning values into text and back: tables, templates, JSON and YAML, durations, sizes, times. Pure.

Nothing here asks the mesh, reads a clock or knows what a service is. Start reading at `meshctl.format.output`.
"""
