"""Pictures: reading and writing, MATLAB's bicubic, picture sets, packs and training patches."""
