"""The adversary of Rashid et al. (2021): a generator that writes inputs on which teacher and student disagree."""
