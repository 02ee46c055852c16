//! Who may command what.
