//! What follows from an event: the one place where things are decided.
