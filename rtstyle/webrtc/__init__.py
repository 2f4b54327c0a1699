"""WebRTC: peers, tracks and candidates."""
