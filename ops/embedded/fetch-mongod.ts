// A program of its own, because the download cannot be cancelled: whoever waits for it kills this process.
import { MongoBinary } from "mongodb-memory-server-core";

const [downloadDir, version] = process.argv.slice(2);
if (downloadDir === undefined || version === undefined) throw new Error("usage: fetch-mongod.ts DIR VERSION");
try {
	const mongod = await MongoBinary.getPath({ downloadDir, version, checkMD5: true });
	console.log(`MONGOD ${mongod}`);
} catch (error) {
	console.error(error instanceof Error ? error.message.split("\n")[0] : error);
	process.exit(1);
}
