"""The page docs/scale.md shows what scale.py computes, and the model does right where the answer is known."""

import unittest

import measured
import model
import scale
import swarm
import tasks

MB, MBIT = 10**6, 10**6


class Page(unittest.TestCase):
    maxDiff = None

    def test_its_tables_are_what_is_computed(self):
        text = scale.PAGE.read_text(encoding="utf-8")
        self.assertEqual(text, scale.replaced(text), "\nto accept what was computed: tests/scale/scale.py --write")


class Measured(unittest.TestCase):
    def test_the_model_agrees_with_each_run_of_the_swarm_and_of_http_alone(self):
        compared = scale.compared()
        self.assertGreaterEqual(len(compared), 6)
        for run, seconds, copies in compared:
            with self.subTest(**run):
                self.assertLess(abs(seconds / run["last"] - 1), scale.AGREES)
                self.assertLess(abs(copies / run["copies"] - 1), scale.AGREES)

    def test_all_that_is_planned_was_measured(self):
        planned = [(*setting, way) for *setting, ways in swarm.RUNS for way in ways]
        runs = measured.read()["swarm"]["runs"]
        self.assertEqual(planned, [(run["pcs"], run["rate"], run["uplink"], run["megabytes"], run["way"]) for run in runs])


class Tasks(unittest.TestCase):
    def test_the_deploy_that_was_counted_is_that_of_the_role(self):
        ran = measured.read()["tasks"]
        self.assertEqual([name for name, _ in ran], [name for name, _, _ in tasks.role(ran)], "\nto count again: tests/scale/tasks.py --record")

    def test_a_play_is_read(self):
        output = "TASK [imgbuild.lab.imgbuild : Probe] ****\nincluded: x for pc\n\nTASK [imgbuild.lab.imgbuild : Copy] ***\nskipping: [pc]\n"
        self.assertEqual([["Probe", "included"], ["Copy", "skipping"]], tasks.parsed(output))


class Swarm(unittest.TestCase):
    def test_it_is_measured_with_what_the_role_gives_aria2(self):
        role = (tasks.ROLE.parents[2] / "plugins/modules/base.py").read_text(encoding="utf-8")
        own = [option for option in swarm.SWARM if '"%s"' % option not in role]
        self.assertEqual(["--seed-ratio=0.0", "--seed-time=5"], own)


class Model(unittest.TestCase):
    def last(self, pcs, megabytes, server, cable, **more):
        return model.Swarm(pcs, megabytes * MB, server * MBIT, cable * MBIT, wire=1, **more).run()[-1]

    def test_one_pc_takes_what_the_line_takes(self):
        self.assertAlmostEqual(self.last(1, 64, 40, 40), 12.8, delta=0.3)
        self.assertEqual(model.http(1, 64 * MB, 40 * MBIT, 40 * MBIT, wire=1), 12.8)

    def test_of_an_uplink_without_end_each_takes_what_its_own_cable_takes(self):
        self.assertAlmostEqual(self.last(20, 64, 10**6, 40), 12.8, delta=0.3)
        self.assertEqual(model.http(20, 64 * MB, 10**12, 40 * MBIT, wire=1), 12.8)

    def test_without_others_it_is_http_alone(self):
        for pcs in (2, 8):
            # Too small for the first to meet before the last is done.
            self.assertAlmostEqual(self.last(pcs, 4, 40, 40), pcs * 0.8, delta=0.5)
        # One after the other, and nobody stays.
        self.assertAlmostEqual(self.last(5, 64, 40, 40, waves=1, stays=False), 64, delta=1.5)

    def test_it_is_never_faster_than_one_copy_from_the_server(self):
        for server in (1, 10, 100):
            simulated = model.Swarm(30, 64 * MB, server * MBIT, 1000 * MBIT, wire=1)
            self.assertGreaterEqual(simulated.run()[-1], 64 * 8 / server)
            self.assertGreaterEqual(simulated.copies, 1)

    def test_it_is_never_slower_than_http_alone(self):
        for pcs in (2, 8, 60):
            http = model.http(pcs, 64 * MB, 100 * MBIT, 100 * MBIT, wire=1)
            self.assertLess(self.last(pcs, 64, 100, 100), http + 1)

    def test_who_comes_late_is_served_by_those_who_stayed(self):
        stay, leave = (self.last(100, 64, 100, 100, waves=20, stays=stays) for stays in (True, False))
        self.assertLess(stay, leave)
        self.assertLess(leave, model.http(100, 64 * MB, 100 * MBIT, 100 * MBIT, wire=1))

    def test_steps_and_pieces_half_as_large_say_the_same(self):
        def middle(**more):
            return sorted(self.last(30, 222, 100, 1000, seed=seed, **more) for seed in range(3))[1]
        usual = middle()
        self.assertLess(abs(middle(tick=model.TICK / 2) / usual - 1), 0.15)
        self.assertLess(abs(middle(pieces=2 * model.MOST_PIECES) / usual - 1), 0.15)

    def test_the_same_lot_gives_the_same_answer(self):
        self.assertEqual(self.last(60, 64, 40, 40, seed=3), self.last(60, 64, 40, 40, seed=3))


class Clusters(unittest.TestCase):
    def test_the_times_are_those_of_corosync_conf(self):
        # Without token_coefficient: 3000 ms + 30 * 650 ms = 22.5 s, and 1.2 times that.
        self.assertAlmostEqual(scale.silent(32, scale.COEFFICIENT), 22.5 + 27)
        self.assertAlmostEqual(scale.silent(2, scale.COEFFICIENT), 3 + 3.6)
        self.assertEqual(scale.largest(scale.COEFFICIENT, scale.CLOSE), 32)

    def test_no_cluster_is_larger_than_was_said(self):
        for row in scale.clusters().splitlines()[2:]:
            most = int(row.split("at most ")[1].split()[0])
            stable, pcs = map(int, row.split("|")[3].split("+"))
            self.assertLessEqual(stable + pcs, most)


if __name__ == "__main__":
    unittest.main()
