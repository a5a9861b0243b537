"""One TrainingJob, what is observed and the time, turned into a plan. No I/O, no clock, no randomness."""
