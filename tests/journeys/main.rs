//! Journeys through the program.
