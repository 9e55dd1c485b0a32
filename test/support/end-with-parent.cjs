/** Ends this process when the one that started it is gone: a worker of jest would run on for as long as a connection is open. */
process.on("disconnect", () => process.exit(1));
// The listener alone would keep the channel, and so this process, alive after the last test. A worker waits for messages and stays.
if (process.listenerCount("message") === 0) process.channel?.unref();
