'use strict';
/** mocha's spec reporter with a last line that a script can read: `N passed, N failed`, and `, N skipped` if any were. */
const { reporters } = require('mocha');

module.exports = class Reporter extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const { stats } = this;
    // Not at the end of the run: what the tests left behind may still print then.
    process.once('exit', () => {
      const skipped = stats.pending > 0 ? `, ${stats.pending} skipped` : '';
      process.stdout.write(`${stats.passes} passed, ${stats.failures} failed${skipped}\n`);
    });
  }
};
