"""Starts the service, and proves the connector against it: python3 -m unittest"""
import os
import subprocess
import sys
import tempfile
import threading
import unittest

import connector
import service
import wire

HERE = os.path.dirname(os.path.abspath(__file__))
TOKEN = "a token that nobody guesses"


class Running(unittest.TestCase):
    def setUp(self):
        self.server = service.start(TOKEN)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = "http://127.0.0.1:%d" % self.server.server_address[1]

        self.addCleanup(self.stop)

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def test_the_contract_is_kept(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "test.toml"), "w", encoding="utf-8") as file:
                file.write(
                    '[connections.test]\n'
                    'connector = "process"\n'
                    'command = ["%s", "%s"]\n'
                    'settings = { url = "%s" }\n'
                    'secrets = { token = { env = "TEST_TOKEN" } }\n'
                    % (sys.executable, os.path.join(HERE, "connector.py"), self.url)
                )
            # MUSTER names the program where it is not in PATH.
            command = [os.environ.get("MUSTER", "muster"), "connector", "test", "--config", file.name]
            done = subprocess.run(command, env={**os.environ, "TEST_TOKEN": TOKEN}, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, 0, done.stdout.decode())

    def test_a_wrong_token_is_told_as_such(self):
        people = connector.connect({"url": self.url}, {"token": "wrong"})
        with self.assertRaises(wire.Failure) as failed:
            people.check([])
        self.assertIn("credentials", failed.exception.body)

    def test_a_service_that_is_down_blames_nobody(self):
        self.stop()
        people = connector.connect({"url": self.url}, {"token": TOKEN})
        with self.assertRaises(wire.Failure) as failed:
            people.check([])
        self.assertTrue(failed.exception.body["unreachable"]["nothing_sent"])

    def test_an_address_that_is_none_is_refused(self):
        with self.assertRaises(wire.Failure) as failed:
            connector.connect({"url": "crm"}, {})
        self.assertEqual(failed.exception.body["configuration"]["setting"], "url")


if __name__ == "__main__":
    unittest.main()
