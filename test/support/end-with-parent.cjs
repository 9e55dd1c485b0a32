/** Ends this process when the one that started it is gone: a worker of jest would run on for as long as a connection is open. */
process.on("disconnect", () => process.exit(1));
