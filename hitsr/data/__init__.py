"""Pictures in and out: reading, MATLAB's bicubic, where data come from, training patches."""
