"""The network: the generator and the local contrast that it sees."""
