"""A pinhole camera as immutable data, in OpenCV axes (x right, y down, z along the optical axis)."""

from dataclasses import dataclass

import numpy as np

Vector3 = tuple[float, float, float]

# CLEVR's camera (spec BENCHMARKS, "CLEVR generator rules"): 35 mm lens on a 32 mm sensor, so f = 350 px at width 320.
CLEVR_CAMERA_LOCATION: Vector3 = (7.481, -6.508, 5.344)
FOCAL_LENGTH_MM = 35.0
SENSOR_WIDTH_MM = 32.0


@dataclass(frozen=True)
class Camera:
    """A camera at `location` (metres, world) that looks at `target` with world z up in the image.

    `focal_length_mm` and `sensor_width_mm` follow Blender: the sensor's width spans the image's width.

    Raises:
        ValueError: for a camera straight above or below its target, where no direction of the image is up.
    """

    location: Vector3 = CLEVR_CAMERA_LOCATION
    target: Vector3 = (0.0, 0.0, 0.0)
    focal_length_mm: float = FOCAL_LENGTH_MM
    sensor_width_mm: float = SENSOR_WIDTH_MM

    def __post_init__(self) -> None:
        if tuple(self.location[:2]) == tuple(self.target[:2]):
            raise ValueError(
                f"the camera at {self.location} is straight above or below its target {self.target}: move it aside, "
                "by a millimetre if it is to look straight down"
            )

    def axes(self) -> np.ndarray:
        """Return the camera's x, y and z axes in world coordinates as the rows of a (3, 3) float64 rotation."""
        forward = np.subtract(self.target, self.location)
        forward = forward / np.linalg.norm(forward)
        right = np.cross(forward, (0.0, 0.0, 1.0))
        right = right / np.linalg.norm(right)
        return np.stack([right, np.cross(forward, right), forward])

    def world_to_camera(self) -> np.ndarray:
        """Return the (4, 4) float64 matrix that takes homogeneous world points to camera points."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.axes()
        matrix[:3, 3] = -self.axes() @ np.asarray(self.location)
        return matrix

    def intrinsics(self, width: int, height: int) -> np.ndarray:
        """Return the (3, 3) float64 intrinsic matrix in pixels; pixel (0, 0) covers [0, 1) x [0, 1)."""
        focal = width * self.focal_length_mm / self.sensor_width_mm
        return np.array([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])

    def project(self, points: np.ndarray, width: int, height: int) -> np.ndarray:
        """Project world points (N, 3) to (N, 3) rows of (x right in pixels, y down in pixels, depth in metres)."""
        in_camera = (np.asarray(points, dtype=float) - self.location) @ self.axes().T
        pixels = in_camera @ self.intrinsics(width, height).T
        return np.concatenate([pixels[:, :2] / in_camera[:, 2:], in_camera[:, 2:]], axis=1)

    def unproject(self, pixels: np.ndarray, heights: np.ndarray, width: int, height: int) -> np.ndarray:
        """World points (N, 3) that are seen at pixels (N, 2) and lie at z = `heights` (N,), in metres.

        A pixel on the horizon of its height sees no such point: the result is infinite or NaN.
        """
        in_camera = (np.asarray(pixels, dtype=float) - (width / 2, height / 2)) / self.intrinsics(width, height)[0, 0]
        rays = np.concatenate([in_camera, np.ones((len(in_camera), 1))], axis=1) @ self.axes()
        with np.errstate(divide="ignore", invalid="ignore"):
            depths = (np.asarray(heights, dtype=float) - self.location[2]) / rays[:, 2]
            return np.asarray(self.location) + depths[:, None] * rays

    def pixel_rays(self, width: int, height: int) -> np.ndarray:
        """Return world directions (height, width, 3) through the pixel centres, with depth component 1."""
        intrinsics = self.intrinsics(width, height)
        x = (np.arange(width) + 0.5 - intrinsics[0, 2]) / intrinsics[0, 0]
        y = (np.arange(height) + 0.5 - intrinsics[1, 2]) / intrinsics[1, 1]
        in_camera = np.stack([*np.meshgrid(x, y), np.ones((height, width))], axis=-1)
        return in_camera @ self.axes()
