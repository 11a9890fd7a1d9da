"""The version of Dockmesh: one place, read by the build and told by every process."""

VERSION = "0.1.0"
