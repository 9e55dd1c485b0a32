// Here, because the `process` that tests see is a copy that hears of nothing; once in a process, as any module.
require("./end-with-parent.cjs");

module.exports = require("jest-environment-node");
